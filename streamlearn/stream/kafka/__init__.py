"""Where records come from and go to: Kafka, the embedded broker, an in-process log."""
