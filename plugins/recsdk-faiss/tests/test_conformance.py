from recsdk_faiss import Faiss

from recsdk import testing

INDEXES = ("IVF16,Flat", "IVF16,SQ8", "HNSW16")


@testing.parametrize_retrievers(*(Faiss(index=index, exact_below=1) for index in INDEXES))
def test_conforms(retriever, check):
    check(retriever)
