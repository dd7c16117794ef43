"""Standards as codes: expressions on their syntax tree, alerts, recordings, routes and dashboards. Pure."""
