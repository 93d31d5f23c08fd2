"""What changes a deployment. Each loads under the deployment's lock, lets the domain decide, writes, and tells.

Every one may be called again after a crash: what is done already is left as it is.
"""
