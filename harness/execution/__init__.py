"""Who does which run, when: leases, queues, workers, launchers of this machine."""
