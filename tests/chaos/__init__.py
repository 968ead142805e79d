"""What happens when processes, networks, providers and databases fail."""
