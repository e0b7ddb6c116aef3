"""What is known of every file: states and transitions (pure), and the only SQL of the project."""
