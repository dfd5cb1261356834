"""What a box tells over HTTP: load balancers whether to send traffic, people and Prometheus how it is. No control."""
