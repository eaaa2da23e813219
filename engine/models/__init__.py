"""Models: found, checked, compared, loaded; folders, hubs, adapters, devices."""
