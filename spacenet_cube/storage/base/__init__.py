"""What every kind of storage uses: options, secrets, faults, retries and entries."""
