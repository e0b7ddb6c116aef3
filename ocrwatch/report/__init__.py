"""The report: one page of HTML with every page's image beside its text. Reads what was published; changes nothing."""
