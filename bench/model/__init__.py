"""What the model's life costs: loading, unloading, coming back."""
