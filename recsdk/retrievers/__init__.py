"""Retrievers: which items of a catalogue are candidates for a request."""
