"""What benches and the demo set up around the thing they measure."""
