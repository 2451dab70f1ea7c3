"""How an update changes in time. Plain numbers; kept empty and free of torch."""
