"""Evidence about candidates: the columns from which a policy learns whom to trust."""
