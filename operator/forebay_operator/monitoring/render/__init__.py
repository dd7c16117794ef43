"""Templates, standards and clusters -> a Bundle of rule groups, routes and dashboards. Pure: no clock decides what comes out."""
