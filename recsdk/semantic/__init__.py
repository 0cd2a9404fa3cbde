"""A draw from a million items with an exact propensity: items as words of codes, and a policy that walks them code by code."""

from recsdk.semantic.codes import Codebook, encode, fit
from recsdk.semantic.evaluation import as_slates
from recsdk.semantic.policy import TreePolicy, Walk
from recsdk.semantic.tree import Tree, add, build, dumps, loads, remove

__all__ = ["Codebook", "Tree", "TreePolicy", "Walk", "add", "as_slates", "build", "dumps", "encode", "fit", "loads", "remove"]
