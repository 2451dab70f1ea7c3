"""One file per kind of task: encode rows, collate batches, a loss, predictions, scores."""
