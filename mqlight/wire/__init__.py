"""What both ends of an AMQP 1.0 connection share: the type system, messages, topic patterns and the connection engine.

The leaf of the tree. It imports nothing from the packages above it, and only ``engine`` imports Proton.
"""
