"""What is added to any strategy's loss to hold the model near what it was. `family.py` has their names."""
