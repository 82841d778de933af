// Belamy as an inference engine of Geant4's example Par04: a shower from a latent vector that the host draws.
//
// `input` holds the latent vector and, behind it, the class's number where the generator knows classes; `energies` becomes
// the sample, cell by cell. One generator serves all worker threads.
#ifndef PAR04_BELAMY_HH
#define PAR04_BELAMY_HH
#include "par04_inference.hh"
#include <belamy.h>
#include <stdexcept>
#include <string>

class Par04BelamyInference : public Par04InferenceInterface {
public:
    explicit Par04BelamyInference(const std::string& run)
    {
        check(belamy_generator_open(run.c_str(), nullptr, &generator));
    }
    Par04BelamyInference(const Par04BelamyInference&) = delete;
    Par04BelamyInference& operator=(const Par04BelamyInference&) = delete;
    ~Par04BelamyInference() override { belamy_generator_free(generator); }

    void RunInference(std::vector<float> input, std::vector<G4double>& energies, int size) override
    {
        const std::size_t latent = belamy_generator_latent(generator), cells = belamy_generator_elements(generator);
        const bool conditional = belamy_generator_classes(generator) > 0;
        if (input.size() < latent + conditional || size < 0 || static_cast<std::size_t>(size) > cells)
            throw std::invalid_argument("input or size do not fit the generator");
        const std::uint32_t label = conditional ? static_cast<std::uint32_t>(input[latent]) : 0;
        std::vector<float> sample(cells);
        check(belamy_generator_sample_from(generator, input.data(), conditional ? &label : nullptr, 1, sample.data(), cells));
        energies.assign(sample.begin(), sample.begin() + size);
    }

private:
    static void check(belamy_status status)
    {
        if (status != BELAMY_STATUS_OK) throw std::runtime_error(belamy_last_error());
    }
    belamy_generator* generator = nullptr;
};
#endif
