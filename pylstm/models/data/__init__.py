"""What a user gives to a model, on its way to Keras' trainer and to the model's first layer."""
