"""Deep models of requests and items."""
