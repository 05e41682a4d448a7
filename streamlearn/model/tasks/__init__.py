"""What is predicted and learned: a task says what a label is, and what the model's output says of an event."""
