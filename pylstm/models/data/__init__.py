"""What a user gives to a model, on its way to Keras' trainer and to the model's first layer.

separating      which part is of which input or output (`structure`)
reading         each part as a column of samples (`columns`, `text`)
targets         fitted to the outputs: their structure, axes, classes (`classes`) and steps
                (`meeting_inputs`, `output_lengths`, `fixed_steps`, `padded_targets`)
class_weights   as weights of targets per step
feeding         arrays, or batches of one length (`dataset`), for the trainer
batch_stream    the same for batches that the user makes, one by one
entering        a batch in the model's call: tensors, with the mask of what was padded
"""
