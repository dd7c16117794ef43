"""One member: its Datasets, its syncs, its report. Wired from real parts by `main`."""
