"""L3: what is served over HTTPS, if switched on: the MTA-STS policy of hosted domains, settings for mail programs."""
