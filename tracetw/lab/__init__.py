# SPDX-License-Identifier: Apache-2.0
"""Every way in which a connection ends, reproduced on the running kernel and explained.

Nothing here is imported before ``tracetw lab`` runs.
"""
