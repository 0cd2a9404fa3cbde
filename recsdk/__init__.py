"""recsdk: recommendation that learns from every reward, with propensities that are true."""
