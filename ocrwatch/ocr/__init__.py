"""From a spooled file to the text of its pages: engines, page rendering, and the worker that runs them."""
