"""The loop that serves: requests, candidates, evidence, decisions, rewards, learning."""
