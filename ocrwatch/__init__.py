"""ocrwatch: recognizes the scans that arrive in a folder, corrects the text, writes it beside them.

Nothing is imported here: workers start through this package and every import costs them.
"""

__version__ = "0.1.0"
