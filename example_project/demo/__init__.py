"""The demo: both sites, people and providers set up, and every journey walked by ``demo --check``."""
