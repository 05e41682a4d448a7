"""streamlearn: the Kafka consumer that lets a Transformers model move along with the world."""

__version__ = "0.2.0"
