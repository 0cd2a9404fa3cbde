"""Approximate nearest neighbours by faiss, for catalogues that are too large to score every item."""

from recsdk_faiss.retriever import Faiss

__all__ = ["Faiss"]
