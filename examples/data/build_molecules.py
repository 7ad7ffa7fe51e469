#!/usr/bin/env python3
"""Build molecules.csv: measured physical properties of small molecules.

The table has one row a molecule and one column a property; an empty cell is
a missing value.  Everything comes from the PyPI package ``chemicals``: the
tables of measured values (and of correlations fitted to measured values) that
it ships, and its CAS number -> SMILES identifiers.  RDKit turns the SMILES
into canonical ones without stereochemistry.  Tables of predicted values and
tables under a non-commercial licence are not read.  README.md beside this
file names the tables used, those left out, and why.

How to run it (Python 3.9 or newer):

    pip install chemicals==1.5.2 rdkit==2026.9.1 pandas
    python build_molecules.py --out molecules.csv

The output is deterministic for fixed versions of chemicals and RDKit.

How a label comes about
-----------------------
1.  Every table gives at most one value per CAS number (the mean, should it
    list several; none if they disagree).
2.  The tables' values for one CAS number are reconciled: two or more values
    must agree within the property's tolerance (largest minus smallest) and
    are then averaged.  Of three or more values, up to a third may be
    outvoted: the largest group that agrees is averaged if it holds at least
    two thirds of the values.  Otherwise the label is left empty.
3.  CAS numbers that give the same SMILES (stereoisomers, mostly) must agree
    within the tolerance too, with no outvoting; else the label is left empty.
"""

import argparse
import collections
import csv
import io
import math
import pathlib
import sys

import chemicals
import pandas as pd
from chemicals import dippr, heat_capacity, interface, vapor_pressure, viscosity
from chemicals.elements import simple_formula_parser
from chemicals.identifiers import get_pubchem_db
from rdkit import Chem, RDLogger, rdBase
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

CHEMICALS_VERSION = "1.5.2"
T0 = 298.15  # K: the temperature of every temperature-dependent property
ATM = 101325.0  # Pa
DATA = pathlib.Path(chemicals.__file__).parent

ELEMENTS = {"H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"}
MIN_HEAVY, MAX_HEAVY = 2, 40
MAX_BYTES = 800_000

# name, unit, decimals, tolerance, whether the tolerance is relative,
# lowest and highest value accepted.
Property = collections.namedtuple("Property", "name unit decimals tol relative low high")
PROPERTIES = [
    # Sources: plenty of labels.
    Property("melting_point", "K", 1, 5.0, False, 40, 800),
    Property("boiling_point", "K", 1, 5.0, False, 60, 900),
    Property("log_p", "log10", 2, 0.30, False, -6, 12),
    Property("refractive_index", "1", 4, 0.005, False, 1.15, 2.0),
    Property("density", "kg/m3", 1, 0.015, True, 400, 4000),
    Property("heat_of_vaporisation_298", "kJ/mol", 2, 0.05, True, 5, 200),
    Property("log_vapour_pressure_298", "log10 Pa", 3, 0.08, False, -7, 7.5),
    # Targets: few labels.
    Property("flash_point", "K", 1, 8.0, False, 150, 650),
    Property("critical_temperature", "K", 1, 5.0, False, 100, 1200),
    Property("log_permittivity", "log10", 3, 0.04, False, 0.0, 2.4),
    Property("log_viscosity_298", "log10 Pa s", 3, 0.05, False, -4.2, 1.0),
    Property("dipole_moment", "D", 2, 0.25, False, 0.0, 12),
    Property("surface_tension_298", "mN/m", 2, 0.05, True, 5, 90),
    Property("heat_of_fusion", "kJ/mol", 2, 0.10, True, 0.2, 150),
    Property("liquid_heat_capacity_298", "J/mol/K", 1, 0.04, True, 30, 1500),
]

# How far (K) a correlation fitted over [Tmin, Tmax] may be carried to reach T0.
VAPOUR_MARGIN = 10.0
LIQUID_MARGIN = 5.0

CRC_ORGANIC = "Misc/Physical Constants of Organic Compounds.csv"
CRC_INORGANIC = "Misc/Physical Constants of Inorganic Compounds.csv"
WEBBOOK = "Misc/webbook_constants.tsv"
WIKIDATA = "Misc/wikidata_properties.tsv"


# ---------------------------------------------------------------- reading

def cas_number(value):
    """A CAS number as an integer, whether written 64-17-5 or 64175; or None."""
    text = str(value).strip().replace("-", "")
    return int(text) if text.isdigit() else None


def read_table(path):
    """Yield (CAS as integer, row) over the tab-separated table at `path`.

    The rows are in file order; those without a CAS number are skipped.
    """
    frame = pd.read_csv(DATA / path, sep="\t", low_memory=False)
    key = "CAS" if "CAS" in frame.columns else "CASRN"
    for row in frame.to_dict("records"):
        cas = cas_number(row[key])
        if cas is not None:
            yield cas, row


def finite(*values):
    """Whether every value is a finite number."""
    return all(isinstance(v, (int, float)) and math.isfinite(v) for v in values)


def covers(row, margin=0.0, low="Tmin", high="Tmax"):
    """Whether the row's range of validity, widened by `margin`, holds T0."""
    return finite(row[low], row[high]) and row[low] - margin <= T0 <= row[high] + margin


class Labels:
    """The values gathered: property -> CAS -> table -> list of values."""

    def __init__(self):
        self.values = {p.name: {} for p in PROPERTIES}
        self.rejected = collections.Counter()
        self.refractory = set()  # CAS numbers of network solids and salts
        self.limits = {p.name: (p.low, p.high) for p in PROPERTIES}

    def add(self, name, table, cas, value):
        if isinstance(value, complex) or not finite(value):
            return
        low, high = self.limits[name]
        if not low <= value <= high:
            self.rejected[name] += 1
            if name == "melting_point" and value > high and table.startswith("CRC"):
                self.refractory.add(cas)
            return
        self.values[name].setdefault(cas, {}).setdefault(table, []).append(float(value))

    def column(self, name, table, path, column, scale=1.0):
        """Take one column of a table as it stands, times `scale`."""
        for cas, row in read_table(path):
            if finite(row[column]):
                self.add(name, table, cas, scale * row[column])


def log10_or_nan(value):
    if isinstance(value, complex) or not finite(value) or value <= 0:
        return math.nan
    return math.log10(value)


# ---------------------------------------------------------------- properties

def gather_phase_change(labels):
    """Melting and boiling points, heats of fusion and of vaporisation."""
    for name, column in (("melting_point", "Tm"), ("boiling_point", "Tb")):
        labels.column(name, "CRC organic", CRC_ORGANIC, column)
        labels.column(name, "CRC inorganic", CRC_INORGANIC, column)
        labels.column(name, "NIST WebBook", WEBBOOK, column)
    # Wikidata's boiling points are left out: a third of those that no other
    # table has are decomposition points or values at reduced pressure.
    labels.column("melting_point", "Wikidata", WIKIDATA, "Tm")
    labels.column("melting_point", "Open Notebook",
                  "Phase Change/OpenNotebook Melting Points.tsv", "Tm")

    labels.column("heat_of_fusion", "CRC heat of fusion",
                  "Phase Change/CRC Handbook Heat of Fusion.tsv", "Hfus", 1e-3)

    name = "heat_of_vaporisation_298"
    labels.column(name, "CRC heat of vaporisation",
                  "Phase Change/CRC Handbook Heat of Vaporization.tsv", "Hvap298", 1e-3)
    labels.column(name, "Gharagheizi appendix",
                  "Phase Change/Ghazerati Appendix Vaporization Enthalpy.tsv", "Hvap298", 1e-3)
    path = "Phase Change/Table 2-150 Heats of Vaporization of Inorganic and Organic Liquids.tsv"
    for cas, r in read_table(path):
        if covers(r):
            value = dippr.EQ106(T0, r["Tc"], r["C1"], r["C2"], r["C3"], r["C4"])
            labels.add(name, "Perry 2-150", cas, value * 1e-3)  # from J/mol


def gather_density(labels, liquid_at_t0):
    """Densities of compounds that are liquid at T0 and 1 atm."""
    # The handbook gives densities of solids too, and those of gases at their
    # boiling point: only the compounds known to be liquid at T0 are taken.
    for table, path in (("CRC organic", CRC_ORGANIC), ("CRC inorganic", CRC_INORGANIC)):
        for cas, r in read_table(path):
            if finite(r["rho"]) and cas in liquid_at_t0:
                labels.add("density", table, cas, r["rho"])
    # DIPPR equation 105 gives mol/m3 here; the identifiers give the molar mass.
    database = get_pubchem_db()
    for cas, r in read_table("Density/Perry Parameters 105.tsv"):
        hit = database.search_CAS(cas)
        if hit and covers(r) and cas in liquid_at_t0:
            value = dippr.EQ105(T0, r["C1"], r["C2"], r["C3"], r["C4"])
            labels.add("density", "Perry DIPPR 105", cas, value * hit.MW * 1e-3)
    for cas, r in read_table("Density/VDI PPDS Density of Saturated Liquids.tsv"):
        if cas in liquid_at_t0 and T0 < r["Tc"]:
            value = dippr.EQ116(T0, r["Tc"], r["rhoc"], r["A"], r["B"], r["C"], r["D"])
            labels.add("density", "VDI PPDS", cas, value)


def gather_optics_and_partition(labels):
    for cas, r in read_table("Misc/CRC Handbook Organic RI.csv"):
        if finite(r["RI"], r["RIT"]) and 288.15 <= r["RIT"] <= 303.15:
            labels.add("refractive_index", "CRC organic", cas, r["RI"])
    labels.column("log_p", "Syrres", "Environment/Syrres logP data.csv.gz", "logP")
    labels.column("log_p", "CRC logP", "Environment/CRC logP table.tsv", "logP")


def gather_vapour_pressure(labels):
    name = "log_vapour_pressure_298"

    def add(table, cas, pressure):
        labels.add(name, table, cas, log10_or_nan(pressure))

    folder = "Vapor Pressure/"
    for cas, r in read_table(folder + "Landolt_antoine_V20.tsv"):
        if covers(r, VAPOUR_MARGIN):
            # The coefficients are for the natural logarithm of Pa.
            exponent = r["A"] - r["B"] / (r["C"] + T0)
            labels.add(name, "Landolt-Boernstein", cas, exponent / math.log(10))
    for cas, r in read_table(folder + "Antoine Collection Poling.tsv"):
        if covers(r, VAPOUR_MARGIN):
            add("Poling Antoine", cas, vapor_pressure.Antoine(T0, r["A"], r["B"], r["C"]))
    for cas, r in read_table(folder + "Wagner Collection Poling.tsv"):
        if covers(r, VAPOUR_MARGIN):
            add("Poling Wagner", cas, vapor_pressure.Wagner(
                T0, r["Tc"], r["Pc"], r["A"], r["B"], r["C"], r["D"]))
    for cas, r in read_table(folder + "Wagner Original McGarry.tsv"):
        if r["Tmin"] - VAPOUR_MARGIN <= T0 < r["Tc"]:
            add("McGarry", cas, vapor_pressure.Wagner_original(
                T0, r["Tc"], r["Pc"], r["A"], r["B"], r["C"], r["D"]))
    path = folder + "Table 2-8 Vapor Pressure of Inorganic and Organic Liquids.tsv"
    for cas, r in read_table(path):
        if covers(r, VAPOUR_MARGIN):
            add("Perry 2-8", cas, dippr.EQ101(T0, r["C1"], r["C2"], r["C3"], r["C4"], r["C5"]))
    path = folder + "VDI PPDS Boiling temperatures at different pressures.tsv"
    for cas, r in read_table(path):
        if covers(r, 0.0, "Tm", "Tc"):
            add("VDI PPDS", cas, vapor_pressure.Wagner(
                T0, r["Tc"], r["Pc"], r["A"], r["B"], r["C"], r["D"]))
    for cas, r in read_table(WEBBOOK):
        if covers(r, VAPOUR_MARGIN, "AntoineTmin", "AntoineTmax"):
            exponent = r["AntoineA"] - r["AntoineB"] / (r["AntoineC"] + T0)
            labels.add(name, "NIST WebBook", cas, exponent / math.log(10))


def gather_flash_and_critical(labels):
    name = "flash_point"
    labels.column(name, "DIPPR (Serat)", "Safety/DIPPR T_flash Serat.csv", "T_flash")
    labels.column(name, "IEC 60079-20-1", "Safety/IS IEC 60079-20-1 2010.tsv", "T_flash")
    labels.column(name, "NFPA 497", "Safety/NFPA 497 2008.tsv", "T_flash")
    labels.column(name, "Wikidata", WIKIDATA, "T_flash")

    name, folder = "critical_temperature", "Critical Properties/"
    labels.column(name, "IUPAC", folder + "IUPACOrganicCriticalProps.tsv", "Tc")
    labels.column(name, "CRC critical", folder + "CRCCriticalOrganics.tsv", "Tc")
    labels.column(name, "Mathews 1972", folder + "Mathews1972InorganicCriticalProps.tsv", "Tc")
    labels.column(name, "NIST WebBook", WEBBOOK, "Tc")


def gather_electric(labels):
    path = "Electrolytes/Permittivity (Dielectric Constant) of Liquids.tsv"
    for cas, r in read_table(path):
        value = math.nan
        if finite(r["A"], r["B"]) and covers(r, LIQUID_MARGIN):
            c = r["C"] if finite(r["C"]) else 0.0
            d = r["D"] if finite(r["D"]) else 0.0
            value = r["A"] + r["B"] * T0 + c * T0**2 + d * T0**3
        # Without a usable polynomial, and as a check on it, there is the value
        # at the temperature tabulated; most were taken at 293 or 298 K.
        if finite(r["Permittivity"]) and abs(r["T"] - T0) <= 6.0:
            labels.add("log_permittivity", "CRC value", cas, log10_or_nan(r["Permittivity"]))
        labels.add("log_permittivity", "CRC polynomial", cas, log10_or_nan(value))

    name = "dipole_moment"
    labels.column(name, "CCCBDB", "Misc/cccbdb.nist.gov Dipoles.csv", "dipole_moment")
    labels.column(name, "Muller 2012", "Misc/Muller Supporting Info Dipoles.csv", "dipole_moment")
    labels.column(name, "Poling", "Misc/Poling Dipole.csv", "dipole_moment")


def gather_viscosity(labels):
    def add(table, cas, value):
        labels.add("log_viscosity_298", table, cas, log10_or_nan(value))

    path = "Viscosity/Table 2-313 Viscosity of Inorganic and Organic Liquids.tsv"
    for cas, r in read_table(path):
        if covers(r, LIQUID_MARGIN):
            add("Perry 2-313", cas, dippr.EQ101(T0, r["C1"], r["C2"], r["C3"], r["C4"], r["C5"]))
    # The VDI viscosities have no range of their own: their compounds' melting
    # and critical temperatures stand in the VDI vapour pressures.
    path = "Vapor Pressure/VDI PPDS Boiling temperatures at different pressures.tsv"
    liquid = {cas for cas, r in read_table(path) if covers(r, 0.0, "Tm", "Tc")}
    path = "Viscosity/VDI PPDS Dynamic viscosity of saturated liquids polynomials.tsv"
    for cas, r in read_table(path):
        if cas in liquid and r["D"] < T0 < r["C"]:
            add("VDI PPDS", cas, viscosity.PPDS9(T0, r["A"], r["B"], r["C"], r["D"], r["E"]))
    # Both tables hold log10 of mPa s.  Some printed coefficients are wrong: of
    # the sets with A < -2 that another table can check, a quarter are, some by
    # orders of magnitude; hence that bound.
    for table, path in (("Dutt & Prasad", "Viscosity/Dutt Prasad 3 term.tsv"),
                        ("Viswanath & Natarajan",
                         "Viscosity/Viswanath Natarajan Dynamic 3 term.tsv")):
        for cas, r in read_table(path):
            if not covers(r, LIQUID_MARGIN):
                continue
            if table == "Viswanath & Natarajan" and r["A"] < -2.0:
                continue
            exponent = r["A"] - 3.0 + r["B"] / (r["C"] - T0)
            labels.add("log_viscosity_298", table, cas, exponent)


def gather_surface_tension(labels):
    name = "surface_tension_298"
    for cas, r in read_table("Interface/Jasper-Lange.tsv"):
        # A few rows lack a bound: the other one has to do.
        low = r["Tmin"] if finite(r["Tmin"]) else -math.inf
        high = r["Tmax"] if finite(r["Tmax"]) else math.inf
        if low - LIQUID_MARGIN <= T0 <= high + LIQUID_MARGIN:
            labels.add(name, "Jasper (Lange)", cas, 1e3 * interface.Jasper(T0, r["a"], r["b"]))
    for cas, r in read_table("Interface/MuleroCachadinaParameters.tsv"):
        if covers(r, LIQUID_MARGIN):
            value = interface.REFPROP_sigma(T0, r["Tc"], r["sigma0"], r["n0"], r["sigma1"],
                                            r["n1"], r["sigma2"], r["n2"])
            if not isinstance(value, complex):
                labels.add(name, "Mulero & Cachadina", cas, 1e3 * value)
    for cas, r in read_table("Interface/SomayajuluRevised.tsv"):
        if covers(r, 0.0, "Tt", "Tc"):
            value = interface.Somayajulu(T0, r["Tc"], r["A"], r["B"], r["C"])
            labels.add(name, "Somayajulu revised", cas, 1e3 * value)
    for cas, r in read_table("Interface/VDI PPDS surface tensions.tsv"):
        if covers(r, 0.0, "Tm", "Tc"):
            value = dippr.EQ106(T0, r["Tc"], r["A"], r["B"], r["C"], r["D"], r["E"])
            labels.add(name, "VDI PPDS", cas, 1e3 * value)


def gather_heat_capacity(labels):
    name, folder = "liquid_heat_capacity_298", "Heat Capacity/"
    labels.column(name, "CRC standard",
                  folder + "CRC Standard Thermodynamic Properties of Chemical Substances.tsv",
                  "Cpl")
    labels.column(name, "Poling", folder + "PolingDatabank.tsv", "Cpl")
    for cas, r in read_table(folder + "Perry_Table_2-153_DIPPR_100.tsv"):
        if covers(r):
            value = dippr.EQ100(T0, r["A"], r["B"], r["C"], r["D"], r["E"])
            labels.add(name, "Perry 2-153", cas, value * 1e-3)  # from J/kmol/K
    # Zabransky: splines have non-zero A1-spline coefficients, quasi-polynomials
    # a critical temperature.  Classes V and VI (deviation of 3 % and more, or
    # unknown) are left out.
    for cas, r in read_table(folder + "Zabransky.tsv"):
        if r["Uncertainty"] not in ("I", "II", "III", "IV") or not covers(r, LIQUID_MARGIN):
            continue
        if finite(r["Tc"]) and r["A1-quasi"] != 0:
            coefficients = [r[f"A{i}-quasi"] for i in range(1, 7)]
            value = heat_capacity.Zabransky_quasi_polynomial(T0, r["Tc"], *coefficients)
        else:
            coefficients = [r[f"A{i}-spline"] for i in range(1, 5)]
            value = heat_capacity.Zabransky_cubic(T0, *coefficients)
        labels.add(name, "Zabransky", cas, value)


# ---------------------------------------------------------------- reconciling

def agree(values, prop):
    """Whether sorted `values` lie within the property's tolerance."""
    tolerance = prop.tol * (abs(values[0] + values[-1]) / 2 if prop.relative else 1.0)
    return values[-1] - values[0] <= tolerance + 1e-9


def mean(values):
    return math.fsum(values) / len(values)


def reconcile(values, prop, vote):
    """The mean of the values if they agree, else None (see the docstring above)."""
    values = sorted(values)
    if agree(values, prop):
        return mean(values)
    if vote and len(values) >= 3:
        least = math.ceil(2 * len(values) / 3)
        for size in range(len(values) - 1, least - 1, -1):
            groups = [values[i:i + size] for i in range(len(values) - size + 1)]
            groups = [g for g in groups if agree(g, prop)]
            if groups:
                return mean(min(groups, key=lambda g: g[-1] - g[0]))
    return None


def reconcile_tables(tables, prop):
    """(value or None, number of tables) for one CAS number."""
    values = [reconcile(tables[t], prop, vote=False) for t in sorted(tables)]
    values = [v for v in values if v is not None]
    if not values:
        return None, 0
    return reconcile(values, prop, vote=True), len(values)


# ---------------------------------------------------------------- molecules

def canonical_smiles(cas, database):
    """The SMILES of a CAS number, or None where the molecule does not qualify."""
    hit = database.search_CAS(cas)
    if not hit or not hit.smiles:
        return None
    molecule = Chem.MolFromSmiles(hit.smiles)
    if molecule is None or len(Chem.GetMolFrags(molecule)) != 1:
        return None
    if Chem.GetFormalCharge(molecule) != 0:
        return None
    for atom in molecule.GetAtoms():
        if (atom.GetSymbol() not in ELEMENTS or atom.GetIsotope()
                or atom.GetNumRadicalElectrons()):
            return None
    if not MIN_HEAVY <= molecule.GetNumHeavyAtoms() <= MAX_HEAVY:
        return None
    # A check of the identifiers: the formula stored has to be the SMILES's own.
    if simple_formula_parser(CalcMolFormula(molecule)) != simple_formula_parser(hit.formula):
        return None
    Chem.RemoveStereochemistry(molecule)
    smiles = Chem.MolToSmiles(molecule, isomericSmiles=False)
    # Round once more, so that the result is a fixed point of the canoniser.
    molecule = Chem.MolFromSmiles(smiles)
    return Chem.MolToSmiles(molecule, isomericSmiles=False) if molecule else None


def reduced_pressure(smiles, boiling_point):
    """Whether a boiling point is too low to have been taken at 1 atm.

    The n-alkane with as many heavy atoms (fluorine not counted) is about the
    least cohesive molecule of that size: siloxanes, the lowest family, stay
    above 0.8 of its boiling point.  Riazi and Daubert's formula gives that.
    """
    molecule = Chem.MolFromSmiles(smiles)
    n = sum(a.GetSymbol() != "F" for a in molecule.GetAtoms())
    if n < 5:
        return False
    alkane = 1071.28 - math.exp(6.97996 - 0.02013 * (14.027 * n + 2.016) ** (2 / 3))
    return boiling_point < 0.78 * alkane


def drop_contradictions(row):
    """Empty labels that contradict one another; return how many."""
    before = len(row)
    tm, tb = row.get("melting_point"), row.get("boiling_point")
    if tm is not None and tb is not None and tb <= tm:
        del row["boiling_point"]  # a sublimation point, or one at low pressure
        tb = None
    tc = row.get("critical_temperature")
    if tc is not None and tb is not None and tc <= tb:
        del row["critical_temperature"], row["boiling_point"]
        tb = None
    flash = row.get("flash_point")
    if flash is not None and tb is not None and flash >= tb:
        del row["flash_point"], row["boiling_point"]
        tb = None
    vapour = row.get("log_vapour_pressure_298")
    if vapour is not None and tb is not None:
        # Below the boiling point the vapour pressure is under 1 atm, and above it over.
        excess = vapour - math.log10(ATM)
        if (tb > T0 + 5 and excess > 0.05) or (tb < T0 - 5 and excess < -0.05):
            del row["log_vapour_pressure_298"], row["boiling_point"]
    return before - len(row)


def text(value, prop):
    """The value with the property's decimals, trailing zeros removed."""
    out = f"{value:.{prop.decimals}f}"
    out = out.rstrip("0").rstrip(".") if "." in out else out
    return "0" if out == "-0" else out


def write(rows):
    """The CSV text of {smiles: {property: value}}."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["smiles"] + [p.name for p in PROPERTIES])
    for smiles in sorted(rows):
        row = rows[smiles]
        writer.writerow([smiles] + [text(row[p.name], p) if p.name in row else ""
                                    for p in PROPERTIES])
    return buffer.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="molecules.csv", help="file to write (%(default)s)")
    arguments = parser.parse_args()
    if chemicals.__version__ != CHEMICALS_VERSION:
        print(f"warning: made for chemicals {CHEMICALS_VERSION}, this is "
              f"{chemicals.__version__}: the labels may differ", file=sys.stderr)
    RDLogger.DisableLog("rdApp.*")
    database = get_pubchem_db()
    database.finish_loading()

    # 1. Gather every table's values.
    labels = Labels()
    gather_phase_change(labels)
    gather_optics_and_partition(labels)
    gather_vapour_pressure(labels)
    gather_flash_and_critical(labels)
    gather_electric(labels)
    gather_viscosity(labels)
    gather_surface_tension(labels)
    gather_heat_capacity(labels)

    # What is liquid at T0 and 1 atm: every table's melting point must lie
    # below T0, and some boiling point, with none below T0.
    melting, boiling = labels.values["melting_point"], labels.values["boiling_point"]

    def values_of(gathered, cas):
        return [v for values in gathered[cas].values() for v in values]

    liquid = {cas for cas in melting if cas in boiling
              and max(values_of(melting, cas)) < T0 < min(values_of(boiling, cas))}
    # Oils often have no melting point on record: there, a refractive index
    # measured near T0 shows the compound to be liquid.
    liquid |= {cas for cas in boiling if cas not in melting
               and min(values_of(boiling, cas)) > T0
               and cas in labels.values["refractive_index"]}
    gather_density(labels, liquid)

    # 2. Reconcile the tables, CAS number by CAS number.
    by_name = {p.name: p for p in PROPERTIES}
    smiles_of = {}
    per_molecule = {p.name: collections.defaultdict(list) for p in PROPERTIES}
    conflicts = collections.Counter()
    for name, by_cas in labels.values.items():
        for cas in sorted(by_cas):
            if cas not in smiles_of:
                # Boron nitride and its like are no molecules, though their
                # identifiers write them as such: the melting point tells.
                smiles_of[cas] = (None if cas in labels.refractory
                                  else canonical_smiles(cas, database))
            if smiles_of[cas] is None:
                continue
            value, tables = reconcile_tables(by_cas[cas], by_name[name])
            per_molecule[name][smiles_of[cas]].append((value, tables))

    # 3. Reconcile the CAS numbers, molecule by molecule.
    rows, support = collections.defaultdict(dict), {}
    for name, by_smiles in per_molecule.items():
        for smiles, entries in by_smiles.items():
            values = [v for v, _ in entries]
            value = None if None in values else reconcile(values, by_name[name], vote=False)
            if value is None:
                conflicts[name] += 1
                continue
            tables = sum(n for _, n in entries)
            if name == "boiling_point" and tables == 1 and reduced_pressure(smiles, value):
                labels.rejected[name] += 1
                continue
            rows[smiles][name] = value
            support[smiles, name] = tables
    contradictions = sum(drop_contradictions(row) for row in rows.values())
    rows = {s: row for s, row in rows.items() if row}

    # 4. Keep the file below its limit: molecules whose only label is the most
    #    abundant property go first, those that rest on a single table before
    #    the others, the longest SMILES before the shorter.
    complete = len(rows)
    counts = collections.Counter(name for row in rows.values() for name in row)
    abundant = max(counts, key=lambda n: (counts[n], n))
    victims = sorted((s for s, row in rows.items() if list(row) == [abundant]),
                     key=lambda s: (support[s, abundant] > 1, -len(s), s))
    size = len(write(rows).encode())
    for smiles in victims:
        if size <= MAX_BYTES:
            break
        size -= len(write({smiles: rows[smiles]}).encode()) - len(write({}).encode())
        del rows[smiles]
    content = write(rows)
    if len(content.encode()) > MAX_BYTES:
        sys.exit("the file is above its limit with every single-label molecule gone")
    pathlib.Path(arguments.out).write_bytes(content.encode())

    # 5. Say what came out.
    print(f"chemicals {chemicals.__version__}, RDKit {rdBase.rdkitVersion}, "
          f"Python {sys.version.split()[0]}")
    print(f"{len(rows)} molecules ({complete - len(rows)} of {complete} dropped for size, "
          f"whose only label was {abundant}), {len(content.encode())} bytes, "
          f"{contradictions} labels emptied as contradictory")
    print(f"{'property':26s}{'unit':>11s}{'labels':>8s}{'conflict':>9s}{'absurd':>7s}"
          f"{'min':>10s}{'5 %':>10s}{'50 %':>10s}{'95 %':>10s}{'max':>10s}")
    for p in PROPERTIES:
        column = sorted(row[p.name] for row in rows.values() if p.name in row)
        q = [column[round(f * (len(column) - 1))] for f in (0, 0.05, 0.5, 0.95, 1)]
        print(f"{p.name:26s}{p.unit:>11s}{len(column):8d}{conflicts[p.name]:9d}"
              f"{labels.rejected[p.name]:7d}" + "".join(f"{v:10.4g}" for v in q))
    used = collections.Counter()
    for name, by_cas in labels.values.items():
        for cas, tables in by_cas.items():
            if smiles_of.get(cas) in rows and name in rows[smiles_of[cas]]:
                used.update((name, t) for t in tables)
    print("\nlabels that each table contributes to:")
    for p in PROPERTIES:
        print(f"  {p.name}: " + ", ".join(
            f"{t} {n}" for (name, t), n in sorted(used.items()) if name == p.name))
    print("\nchecks by eye:")
    for title, smiles in (("ethanol", "CCO"), ("benzene", "c1ccccc1"),
                          ("aspirin", "CC(=O)Oc1ccccc1C(=O)O")):
        row = rows.get(smiles, {})
        print(f"  {title}: " + ", ".join(f"{p.name} {text(row[p.name], p)}"
                                         for p in PROPERTIES if p.name in row))


if __name__ == "__main__":
    main()
