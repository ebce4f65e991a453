"""What a user gives to a model, on its way to Keras' trainer and to the model's first layer.

separating      which part is of which input or output
reading         each part as a column of samples (`columns`, `text`)
targets         fitted to the outputs: their structure, axes and steps, without padding
feeding         arrays, or batches of one length (`dataset`), for the trainer
batch_stream    the same for batches that the user makes, one by one
entering        a batch in the model's call: tensors, with the mask of what was padded
"""
