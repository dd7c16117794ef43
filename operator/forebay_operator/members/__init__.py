"""The members' admin API, as the operator calls it."""
