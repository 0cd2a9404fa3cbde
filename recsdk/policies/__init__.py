"""Exploration policies, each found by its entry point."""
