"""What the model's life costs a GPU: `python -m bench.model.gpu`. Without a GPU it says so, and that is all."""
