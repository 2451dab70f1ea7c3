"""Search for ranks: strategies that ask for trials and are told their validation scores; every trial is a run."""
