"""What a sweep would run, and what it needs: no torch, but for the costs of a step."""
