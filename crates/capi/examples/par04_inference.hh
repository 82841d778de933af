// The interface that Geant4's example Par04 asks of an inference engine, as a stand-in where Geant4 is absent.
#ifndef PAR04_INFERENCE_HH
#define PAR04_INFERENCE_HH
#include <vector>
using G4double = double;

class Par04InferenceInterface {
public:
    virtual ~Par04InferenceInterface() = default;
    virtual void RunInference(std::vector<float> input, std::vector<G4double>& energies, int size) = 0;
};
#endif
