"""Small programs that mend what a machine lacks; `ocrwatch doctor` names them."""
