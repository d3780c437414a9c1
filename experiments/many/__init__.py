"""The same program on several hosts: kNN and training over processes, compared in bits."""
