"""Settings of the site: ``development`` and ``production``, on one ``base``."""
