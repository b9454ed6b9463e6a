"""Physics-informed networks: problems, domains, samplers, weightings and the residual objective."""

__all__: list[str] = []
