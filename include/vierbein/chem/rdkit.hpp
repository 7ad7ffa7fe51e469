// The headers of RDKit that this folder uses.
#pragma once

#if defined(__clang__)
#pragma clang diagnostic push
#if __has_warning("-Wenum-constexpr-conversion")
// Boost before 1.81, which RDKit includes, converts integers to enumerations out of their range;
// clang makes this an error in system headers too.
#pragma clang diagnostic ignored "-Wenum-constexpr-conversion"
#endif
#endif

#include <DataStructs/SparseIntVect.h>
#include <GraphMol/Atom.h>
#include <GraphMol/Bond.h>
#include <GraphMol/ChemTransforms/ChemTransforms.h>
#include <GraphMol/Descriptors/MolDescriptors.h>
#include <GraphMol/Fingerprints/MorganFingerprints.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/ROMol.h>
#include <GraphMol/RWMol.h>
#include <GraphMol/RingInfo.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>
#include <RDGeneral/RDLog.h>

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
