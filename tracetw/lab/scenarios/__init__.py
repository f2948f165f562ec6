# SPDX-License-Identifier: Apache-2.0
"""The scenarios, one file for each family of them; :mod:`tracetw.lab.catalogue` lists them."""
