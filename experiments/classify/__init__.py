"""From a folder of photos to a classifier in a file, and from the file to an answer."""
