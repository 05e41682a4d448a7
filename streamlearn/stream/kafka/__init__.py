"""Kafka: where records come from and go to, the broker inside this process too."""
