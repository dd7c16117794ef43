"""Pure state machines: events and facts in, instructions out. Their state can be derived again from the facts."""
